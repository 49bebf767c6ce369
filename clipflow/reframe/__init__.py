"""Reframing: finds faces and speakers, and plans the layouts and crops of a short."""
