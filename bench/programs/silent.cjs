// Nothing at all, for a program and for a preload.
