package harden

func process() (undo func() (redo func())) {
	return func() func() { return func() {} }
}
