"""What the HTTP door is made of beside its routes: gate, error table, posted commands, server file, and the page."""
