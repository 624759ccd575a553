"""The scheduling cycle: the queue in its order, tentative places, reservations of blocked jobs, reasons."""
