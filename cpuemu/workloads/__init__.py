"""What tasks do: a recording replayed, random storms, nothing, or a user's own program."""
