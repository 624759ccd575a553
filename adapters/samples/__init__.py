"""Small real programs to put on a farm: frames to render and star clusters to integrate.

`render` computes one frame of an animation, coarse first and then in full. `nbody` is a computation in three stages,
with checkpoints. Both speak the process contract (see `contract`), so a farm sees their progress, previews and
checkpoints. `render.yaml` is an Open Job Description template of the animation. They need NumPy, which the extra
`milepost[samples]` installs, and nothing else.
"""
