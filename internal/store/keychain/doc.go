// Package keychain is a store in a macOS keychain: generic passwords, which are
// found by service and account. It calls the system's Security framework
// without cgo, so that each item belongs to this program, and not to a helper
// that anybody may run. It knows nothing of what the items mean.
//
// It builds on Linux as well, for its tests alone: a program that links it there
// is no longer static.
//
// They run against a stand-in for the frameworks, testdata/security.c. On a Mac
// were never tried:
//
//   - the calls themselves: whether each framework takes the arguments, keeps
//     the reference counts, and has the symbols, as its headers say;
//   - that List and Has neither unlock a locked keychain nor ask;
//   - that items made by one version of the program are read by the next
//     without a question (macOS goes by the program's signature);
//   - that names are told apart by case and by Unicode normal form;
//   - that SecItemUpdate replaces the data in one step, also if the process
//     dies, and keeps who may read it;
//   - that a session without a screen gets errSecInteractionNotAllowed at once
//     from each call that would have asked;
//   - that SecKeychainCreate and SecKeychainUnlock ask by themselves;
//   - that "NAME.keychain" is the file NAME.keychain-db in ~/Library/Keychains.
package keychain
