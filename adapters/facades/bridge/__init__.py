"""What facades share: an application behind each manager, its clock as local times, live objects watched."""
