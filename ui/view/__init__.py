"""The Streamlit view. Its scripts draw what `ui.service.Service` returns, and hold no model and no SQL."""
