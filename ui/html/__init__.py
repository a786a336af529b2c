"""The evaluation page, from templates."""
