"""Interfaces of other libraries over this core: `common` and `render_farm_manager` (extra `facades`).

The two are packages of their own: installed, and in the tests, they are imported as `common` and
`render_farm_manager`, never from here. What they share with each other and with nobody else is `bridge`.
"""
