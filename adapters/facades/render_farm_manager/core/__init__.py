"""The models, the interfaces and the manager of a render farm."""
