"""How the view is served: its addresses, the guard before every request, sign-in, the server."""
