// Does nothing. Used as a program and as a preload.
