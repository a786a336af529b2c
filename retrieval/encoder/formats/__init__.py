"""The layouts in which the field publishes encoders; a new one is a module here and a line in `registry`."""
