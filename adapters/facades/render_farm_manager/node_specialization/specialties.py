"""What nodes for each type of job are called."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from render_farm_manager.core.models import RenderNode

SPECIALIZATIONS: dict[str, list[str]] = {
    "animation": ["gpu_rendering", "animation_rendering"],
    "vfx": ["gpu_rendering", "high_memory", "vfx_rendering"],
    "simulation": ["cpu_rendering", "simulation", "physics"],
    "lighting": ["gpu_rendering", "lighting_rendering"],
    "compositing": ["cpu_rendering", "compositing"],
    "texture_baking": ["gpu_rendering", "texture_processing"],
    "cloth_sim": ["simulation", "physics", "cloth_simulation"],
    "fluid_sim": ["simulation", "physics", "high_memory", "fluid_simulation"],
    "scene_assembly": ["memory_intensive", "scene_assembly"],
    "character_rigging": ["cpu_rendering", "character_processing"],
    "motion_capture": ["cpu_rendering", "animation_processing"],
}
"""What nodes for each type of job are called."""
_WANTED = {kind: frozenset(names) for kind, names in SPECIALIZATIONS.items()}


def suits(job_type: str, node: "RenderNode") -> bool:
    """Whether a node is meant for jobs of that type."""
    wanted = _WANTED.get(job_type)
    return wanted is not None and not wanted.isdisjoint(node.capabilities.specialized_for)
