package pick

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A use is worth half as much after halfLife.
const halfLife = 7 * 24 * time.Hour

// Note returns the line of a log that says that something was used.
func Note(name string, at time.Time) string {
	return strconv.FormatInt(at.UnixMilli(), 10) + " " + strconv.Quote(name) + "\n"
}

// ByUse sorts names: those that a log says were used most, and most recently,
// come first, the others in the order that they have. Lines that are no notes
// are passed over.
func ByUse(names []string, log string, now time.Time) {
	worth := map[string]float64{}
	for line := range strings.Lines(log) {
		at, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		ms, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			continue
		}
		if name, err := strconv.Unquote(quoted); err == nil {
			age := max(0, now.Sub(time.UnixMilli(ms)))
			worth[name] += math.Exp2(-float64(age) / float64(halfLife))
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case worth[a] > worth[b]:
			return -1
		case worth[a] < worth[b]:
			return 1
		}
		return 0
	})
}
