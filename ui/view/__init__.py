"""The Streamlit view. Its scripts show what `ui.service.Service` returns; they contain no model and no SQL."""
