package capture

const noWait = 0 // a file there is no pipe
