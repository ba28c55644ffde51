package awstest

import (
	"net/http"
	"slices"
	"time"
)

// A Fault is what goes wrong with a call.
type Fault struct {
	Kind  FaultKind
	Count int           // how many calls it concerns; 0: all
	Delay time.Duration // of Slow

	// Do, if not nil, is called when the fault strikes: before the connection
	// is dropped or the reply sent. A test can kill the client there.
	Do func()
}

// A FaultKind is a class of faults.
type FaultKind string

// The kinds of faults. Drop, Hang and the pages strike before the call has any
// effect; LoseReply and Stall after it.
const (
	None      FaultKind = ""
	Throttle  FaultKind = "throttle"   // 400 Throttling
	Error500  FaultKind = "500"        // 500 InternalFailure
	Error503  FaultKind = "503"        // 503 ServiceUnavailable
	Drop      FaultKind = "drop"       // close the connection without a reply
	LoseReply FaultKind = "lose-reply" // carry out the call, then close the connection
	Slow      FaultKind = "slow"       // wait for Delay, then carry out the call
	Stall     FaultKind = "stall"      // carry out the call, then no reply for as long as the client waits
	Hang      FaultKind = "hang"       // no reply for as long as the client waits
	HTML200   FaultKind = "html-200"   // a login page, as of a captive portal
	HTML502   FaultKind = "html-502"   // a proxy's error page
)

// everyOp stands for all operations that have no faults of their own.
const everyOp = "*"

// FaultKinds returns all kinds of faults.
func FaultKinds() []FaultKind {
	return []FaultKind{Throttle, Error500, Error503, Drop, LoseReply, Slow, Stall, Hang, HTML200, HTML502}
}

// SetFault makes calls of an operation such as "AssumeRole", or of "*" for all
// that have no faults of their own, go wrong: each Fault in turn for Count
// calls, and none after the last. It replaces what was set for op before.
func (c *Cloud) SetFault(op string, faults ...Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[op] = slices.Clone(faults)
}

// nextFault returns what goes wrong with a call of op.
func (c *Cloud) nextFault(op string) Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.faults[op]) == 0 {
		op = everyOp
	}
	if len(c.faults[op]) == 0 {
		return Fault{}
	}
	f := &c.faults[op][0]
	fault := *f
	if f.Count > 0 {
		if f.Count--; f.Count == 0 {
			c.faults[op] = c.faults[op][1:]
		}
	}
	return fault
}

func (f Fault) strike() {
	if f.Do != nil {
		f.Do()
	}
}

// refusal returns the error that AWS states, if the fault is of that sort.
func (f Fault) refusal() error {
	switch f.Kind {
	case Throttle:
		return refuse(http.StatusBadRequest, "Throttling", "Rate exceeded")
	case Error500:
		return refuse(http.StatusInternalServerError, "InternalFailure", "We encountered an internal error. Please try again.")
	case Error503:
		return refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "Service is unavailable. Please try again later.")
	}
	return nil
}

// page returns what something between the client and AWS answers.
func (f Fault) page() (*reply, bool) {
	switch f.Kind {
	case HTML200:
		return &reply{http.StatusOK, "text/html; charset=utf-8", []byte("<!DOCTYPE html>\n<html><head><title>Welcome to the Wi-Fi</title></head><body>Please sign in.</body></html>\n")}, true
	case HTML502:
		return &reply{http.StatusBadGateway, "text/html", []byte("<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n")}, true
	}
	return nil, false
}
