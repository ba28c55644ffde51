//go:build darwin || linux

package keychain

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// encoding is kCFStringEncodingUTF8.
const encoding = 0x08000100

// A ref is a reference to an object of CoreFoundation, which is not Go's to
// move or free.
type ref uintptr

// A library is the functions and constants of CoreFoundation and Security that
// this package uses, as CFString.h, CFData.h, CFDictionary.h, CFArray.h,
// SecItem.h, SecBase.h and SecKeychain.h declare them. A CFIndex is an int, an
// OSStatus an int32, a Boolean a bool.
type library struct {
	newString     func(allocator ref, bytes *byte, n int, encoding uint32, external bool) ref
	encodeString  func(allocator, s ref, encoding uint32, loss uint8) ref
	newData       func(allocator ref, bytes *byte, n int) ref
	dataLength    func(ref) int
	dataBytes     func(ref) unsafe.Pointer
	newDictionary func(allocator ref, keys, values *ref, n int, keyCallBacks, valueCallBacks uintptr) ref
	dictionaryGet func(dictionary, key ref) ref
	newArray      func(allocator ref, values *ref, n int, callBacks uintptr) ref
	arrayCount    func(array ref) int
	arrayGet      func(array ref, i int) ref
	release       func(ref)

	itemAdd      func(attributes ref, result *ref) int32
	itemMatching func(query ref, result *ref) int32
	itemUpdate   func(query, attributes ref) int32
	itemDelete   func(query ref) int32
	errorMessage func(status int32, reserved uintptr) ref

	// Those of keychain files are deprecated without a successor. A file of 0
	// is the user's default keychain.
	fileOpen   func(path string, result *ref) int32
	fileCreate func(path string, n uint32, password *byte, prompt bool, access ref, result *ref) int32
	fileStatus func(file ref, result *uint32) int32
	fileUnlock func(file ref, n uint32, password *byte, usePassword bool) int32

	keyCallBacks, valueCallBacks, arrayCallBacks uintptr

	yes, class, genericPassword ref

	attrService, attrAccount, attrLabel, valueData ref // of items
	returnData, returnAttributes, limit, one, all  ref // of queries
	searchList, useKeychain                        ref // of either
}

// loadLibrary finds all that this package uses in the libraries.
func loadLibrary(coreFoundation, security string) (*library, error) {
	cf, err := purego.Dlopen(coreFoundation, purego.RTLD_LAZY|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	sec, err := purego.Dlopen(security, purego.RTLD_LAZY|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	var l library
	for _, f := range []struct {
		handle uintptr
		name   string
		fn     any
	}{
		{cf, "CFStringCreateWithBytes", &l.newString},
		{cf, "CFStringCreateExternalRepresentation", &l.encodeString},
		{cf, "CFDataCreate", &l.newData},
		{cf, "CFDataGetLength", &l.dataLength},
		{cf, "CFDataGetBytePtr", &l.dataBytes},
		{cf, "CFDictionaryCreate", &l.newDictionary},
		{cf, "CFDictionaryGetValue", &l.dictionaryGet},
		{cf, "CFArrayCreate", &l.newArray},
		{cf, "CFArrayGetCount", &l.arrayCount},
		{cf, "CFArrayGetValueAtIndex", &l.arrayGet},
		{cf, "CFRelease", &l.release},
		{sec, "SecItemAdd", &l.itemAdd},
		{sec, "SecItemCopyMatching", &l.itemMatching},
		{sec, "SecItemUpdate", &l.itemUpdate},
		{sec, "SecItemDelete", &l.itemDelete},
		{sec, "SecCopyErrorMessageString", &l.errorMessage},
		{sec, "SecKeychainOpen", &l.fileOpen},
		{sec, "SecKeychainCreate", &l.fileCreate},
		{sec, "SecKeychainGetStatus", &l.fileStatus},
		{sec, "SecKeychainUnlock", &l.fileUnlock},
	} {
		symbol, err := purego.Dlsym(f.handle, f.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		purego.RegisterFunc(f.fn, symbol)
	}
	for _, v := range []struct {
		handle uintptr
		name   string
		v      *uintptr
	}{
		{cf, "kCFTypeDictionaryKeyCallBacks", &l.keyCallBacks},
		{cf, "kCFTypeDictionaryValueCallBacks", &l.valueCallBacks},
		{cf, "kCFTypeArrayCallBacks", &l.arrayCallBacks},
	} {
		if *v.v, err = purego.Dlsym(v.handle, v.name); err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
	}
	for _, c := range []struct {
		handle uintptr
		name   string
		ref    *ref
	}{
		{cf, "kCFBooleanTrue", &l.yes},
		{sec, "kSecClass", &l.class},
		{sec, "kSecClassGenericPassword", &l.genericPassword},
		{sec, "kSecAttrService", &l.attrService},
		{sec, "kSecAttrAccount", &l.attrAccount},
		{sec, "kSecAttrLabel", &l.attrLabel},
		{sec, "kSecValueData", &l.valueData},
		{sec, "kSecReturnData", &l.returnData},
		{sec, "kSecReturnAttributes", &l.returnAttributes},
		{sec, "kSecMatchLimit", &l.limit},
		{sec, "kSecMatchLimitOne", &l.one},
		{sec, "kSecMatchLimitAll", &l.all},
		{sec, "kSecMatchSearchList", &l.searchList},
		{sec, "kSecUseKeychain", &l.useKeychain},
	} {
		symbol, err := purego.Dlsym(c.handle, c.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		// The symbol is the address of a variable that holds the reference.
		*c.ref = **(**ref)(unsafe.Pointer(&symbol))
	}
	return &l, nil
}

// A pool is the objects that one call has made, to be released once it is over.
type pool struct {
	*library
	refs []ref
}

// keep adds an object that is ours to release. CoreFoundation makes none only
// when there is no memory.
func (p *pool) keep(r ref) ref {
	if r == 0 {
		panic("keychain: CoreFoundation could not make an object")
	}
	p.refs = append(p.refs, r)
	return r
}

func (p *pool) drain() {
	for _, r := range p.refs {
		p.release(r)
	}
}

// string makes a string. CoreFoundation makes none of what is not UTF-8.
func (p *pool) string(s string) ref {
	s = strings.ToValidUTF8(s, "\ufffd")
	return p.keep(p.newString(0, unsafe.StringData(s+"\x00"), len(s), encoding, false))
}

// blob makes data, which may be empty.
func (p *pool) blob(b []byte) ref {
	return p.keep(p.newData(0, unsafe.SliceData(append(b, 0)), len(b)))
}

// dictionary makes one of keys and values in turn.
func (p *pool) dictionary(pairs ...ref) ref {
	var keys, values []ref
	for pair := range slices.Chunk(pairs, 2) {
		keys, values = append(keys, pair[0]), append(values, pair[1])
	}
	return p.keep(p.newDictionary(0, &keys[0], &values[0], len(keys), p.keyCallBacks, p.valueCallBacks))
}

// bytes copies data.
func (l *library) bytes(data ref) []byte {
	return slices.Clone(unsafe.Slice((*byte)(l.dataBytes(data)), l.dataLength(data)))
}

// text returns a string as UTF-8.
func (l *library) text(s ref) string {
	data := l.encodeString(0, s, encoding, 0)
	if data == 0 {
		return ""
	}
	defer l.release(data)
	return string(l.bytes(data))
}

// failed returns the error that a function's status says.
func (l *library) failed(function string, status int32) error {
	if status == 0 {
		return nil
	}
	e := &StatusError{Call: function, Status: status}
	if message := l.errorMessage(status, 0); message != 0 {
		defer l.release(message)
		e.Text = strings.TrimSuffix(l.text(message), ".")
	}
	return e
}

// status returns the bits that say how a keychain file is.
func (l *library) status(file ref) (bits uint32, err error) {
	status := l.fileStatus(file, &bits)
	return bits, l.failed("SecKeychainGetStatus", status)
}

// A keychain is the items of a service in a keychain file, or in the user's
// search list if file is "". Its methods block for as long as macOS does.
type keychain struct {
	lib           *library
	file, service string
}

// isNew reports whether an error says that the keychain file is to be made.
func (k keychain) isNew(err error) bool { return k.file != "" && is(err, statusNoSuchKeychain) }

// begin returns the pool of one call, which has to be drained even if there is
// an error, and the keychain file, 0 if there is none.
func (k keychain) begin() (*pool, ref, error) {
	p := &pool{library: k.lib}
	if k.file == "" {
		return p, 0, nil
	}
	var file ref
	if err := p.failed("SecKeychainOpen", p.fileOpen(k.file, &file)); err != nil {
		return p, 0, err
	}
	p.keep(file)
	_, err := p.status(file) // SecKeychainOpen does not look whether there is one
	return p, file, err
}

// query makes the dictionary that finds items, with further keys and values.
func (k keychain) query(p *pool, file ref, more ...ref) ref {
	pairs := append([]ref{p.class, p.genericPassword, p.attrService, p.string(k.service)}, more...)
	if file != 0 {
		pairs = append(pairs, p.searchList, p.keep(p.newArray(0, &file, 1, p.arrayCallBacks)))
	}
	return p.dictionary(pairs...)
}

func (k keychain) get(account string) ([]byte, error) {
	p, file, err := k.begin()
	defer p.drain()
	if err != nil {
		return nil, err
	}
	query := k.query(p, file, p.attrAccount, p.string(account), p.returnData, p.yes, p.limit, p.one)
	var data ref
	if err := p.failed("SecItemCopyMatching", p.itemMatching(query, &data)); err != nil {
		return nil, err
	}
	if data == 0 {
		return nil, nil // nothing is what an empty item holds
	}
	return p.bytes(p.keep(data)), nil
}

// has reports whether there is an item. It asks for nothing that is secret.
func (k keychain) has(account string) (bool, error) {
	p, file, err := k.begin()
	defer p.drain()
	if err == nil {
		query := k.query(p, file, p.attrAccount, p.string(account), p.limit, p.one)
		err = p.failed("SecItemCopyMatching", p.itemMatching(query, nil))
	}
	if isMissing(err) {
		return false, nil
	}
	return err == nil, err
}

// accounts returns those of all items, sorted. It asks for nothing that is
// secret.
func (k keychain) accounts() ([]string, error) {
	p, file, err := k.begin()
	defer p.drain()
	var items ref
	if err == nil {
		query := k.query(p, file, p.returnAttributes, p.yes, p.limit, p.all)
		err = p.failed("SecItemCopyMatching", p.itemMatching(query, &items))
	}
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p.keep(items)
	var accounts []string
	for i := range p.arrayCount(items) {
		// What an array or a dictionary returns is its own to release.
		if account := p.dictionaryGet(p.arrayGet(items, i), p.attrAccount); account != 0 {
			accounts = append(accounts, p.text(account))
		}
	}
	slices.Sort(accounts)
	return slices.Compact(accounts), nil // there may be several keychains
}

// put updates an item, in whichever keychain it is, or else adds it to the
// default one. Another process may add it between the two, and delete it again,
// so it goes on for some turns.
func (k keychain) put(account, label string, data []byte) error {
	p, file, err := k.begin()
	defer p.drain()
	if k.isNew(err) {
		file, err = k.create(p)
	}
	if err != nil {
		return err
	}
	value := p.blob(data)
	pairs := []ref{
		p.class, p.genericPassword,
		p.attrService, p.string(k.service),
		p.attrAccount, p.string(account),
		p.attrLabel, p.string(label),
		p.valueData, value,
	}
	if file != 0 {
		pairs = append(pairs, p.useKeychain, file)
	}
	item := p.dictionary(pairs...)
	query := k.query(p, file, p.attrAccount, p.string(account))
	change := p.dictionary(p.valueData, value)
	for range 20 {
		err = p.failed("SecItemUpdate", p.itemUpdate(query, change))
		if !is(err, statusItemNotFound) {
			return err
		}
		err = p.failed("SecItemAdd", p.itemAdd(item, nil))
		if !is(err, statusDuplicateItem) {
			return err
		}
	}
	return err
}

// create makes the keychain file. macOS asks for its new password. Another
// process may have made it meanwhile.
func (k keychain) create(p *pool) (ref, error) {
	var file ref
	err := p.failed("SecKeychainCreate", p.fileCreate(k.file, 0, nil, true, 0, &file))
	if is(err, statusDuplicateKeychain) {
		err = p.failed("SecKeychainOpen", p.fileOpen(k.file, &file))
	}
	if err != nil {
		return 0, err
	}
	return p.keep(file), nil
}

func (k keychain) delete(account string) error {
	p, file, err := k.begin()
	defer p.drain()
	if err != nil {
		return err
	}
	query := k.query(p, file, p.attrAccount, p.string(account))
	return p.failed("SecItemDelete", p.itemDelete(query))
}

// isUnlocked reports whether the keychain file is unlocked; if there is none,
// the user's default keychain.
func (k keychain) isUnlocked() (bool, error) {
	p, file, err := k.begin()
	defer p.drain()
	if err != nil {
		return false, err
	}
	bits, err := p.status(file)
	return bits&1 != 0, err // kSecUnlockStateStatus
}

// unlock has macOS ask for the password.
func (k keychain) unlock() error {
	p, file, err := k.begin()
	defer p.drain()
	if err != nil {
		return err
	}
	return p.failed("SecKeychainUnlock", p.fileUnlock(file, 0, nil, false))
}
