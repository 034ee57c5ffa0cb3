"""Results as Plotly figures: one palette, one template, pure functions. Needs plotly and numpy only."""
