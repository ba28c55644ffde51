package rotate

import "time"

// An Event is something that a rotation has done, or found.
type Event struct {
	What  What
	KeyID string
	Name  string // of the item, for Stored and Unread
	Where string // its store, "" for that of the rotation
	Until time.Time
	Age   time.Duration
	Undo  bool
	Err   error
}

// What is what an event is about.
type What int

// The events.
const (
	Resuming    What = iota // an earlier rotation goes on; KeyID is the new key, if there is one
	Creating                // a new key is about to be made, in place of this one
	Created                 // it was made
	Waiting                 // AWS does not know the key yet
	Proved                  // AWS knows the key, and it is the same user's
	Stored                  // the key is stored under a Name
	Unread                  // an item could not be read, and may be a copy
	Inactive                // the old key was made inactive
	Kept                    // the old key is kept until then
	TakenBack               // the old key is stored and active again
	Deleting                // the old key is about to be deleted
	Deleted                 // it was deleted
	LostDeleted             // a key that was made and not stored was deleted
	Gone                    // the new key has disappeared from AWS
	Finished                // the key was replaced
	Undone                  // the former key is back
	TooYoung                // the key is not as old as it has to be
	Meanwhile               // another process has replaced the key
	NothingLeft             // no rotation was under way
)
