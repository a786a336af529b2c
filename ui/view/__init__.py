"""The Streamlit view. Its scripts show what `ui.service.Service` returns; they hold no model and no SQL."""
