"""What a picture is, costs and shows by its headers, before anything is decoded."""
