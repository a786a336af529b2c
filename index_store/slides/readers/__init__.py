"""The formats of slides, each behind one module. All of it runs in the slide's own process (`slide_main.py`)."""
