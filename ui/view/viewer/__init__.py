"""The viewer: pictures and slides with zoom and scale, in step, and regions drawn on them (OpenSeadragon)."""
