package all

import "kura/internal/store"

func kernel() []store.Backend { return nil }

func diagnoseKernel(error) (Trouble, string) { return "", "" }
