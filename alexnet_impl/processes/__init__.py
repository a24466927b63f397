"""Worker processes: how they are started, and how a job and its workers talk."""
