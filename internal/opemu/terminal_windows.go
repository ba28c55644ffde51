package opemu

// terminalSession is "": on Windows an approval is the parent process's.
func terminalSession() string { return "" }
