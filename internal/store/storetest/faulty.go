package storetest

import (
	"context"

	"kura/internal/store"
)

// Faulty wraps a store for tests of what happens when it fails.
type Faulty struct {
	store.Store

	// Fail is asked before each call of the method "Get", "Put", "Delete" or
	// "List" whether to carry it out and which error to return; List has a key
	// without a name. A Put that is carried out and still fails is the case
	// that loses data in careless code.
	Fail func(method string, key store.Key) (apply bool, err error)
}

// Get implements store.Store.
func (f Faulty) Get(ctx context.Context, key store.Key) (data []byte, err error) {
	err = f.call("Get", key, func() (err error) {
		data, err = f.Store.Get(ctx, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Put implements store.Store.
func (f Faulty) Put(ctx context.Context, key store.Key, data []byte) error {
	return f.call("Put", key, func() error { return f.Store.Put(ctx, key, data) })
}

// Delete implements store.Store.
func (f Faulty) Delete(ctx context.Context, key store.Key) error {
	return f.call("Delete", key, func() error { return f.Store.Delete(ctx, key) })
}

// List implements store.Store.
func (f Faulty) List(ctx context.Context, kind store.Kind) (names []string, err error) {
	err = f.call("List", store.Key{Kind: kind}, func() (err error) {
		names, err = f.Store.List(ctx, kind)
		return err
	})
	if err != nil {
		return nil, err
	}
	return names, nil
}

func (f Faulty) call(method string, key store.Key, do func() error) error {
	apply, err := f.Fail(method, key)
	if apply {
		if err := do(); err != nil {
			return err
		}
	}
	return err
}
