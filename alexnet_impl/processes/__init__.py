"""Worker processes: started one way, asked by JSON lines."""
