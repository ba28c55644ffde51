package console

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"rsc.io/qr/coding"

	"kura/internal/cred"
)

// ErrTooLong says that a URL is longer than a QR code holds.
var ErrTooLong = errors.New("the sign-in URL is longer than a QR code holds, which is 2953 bytes")

// A SizeError says that a terminal is too small for a QR code.
type SizeError struct{ Columns, Rows, HasColumns, HasRows int }

func (e *SizeError) Error() string {
	return fmt.Sprintf("the QR code takes %d columns and %d lines, and the terminal has %d and %d", e.Columns, e.Rows, e.HasColumns, e.HasRows)
}

// quiet is how many modules around a QR code stay light, by its standard.
const quiet = 4

// PrintQR draws a URL as a QR code, of which a line of text holds two. A terminal
// of so many columns and rows is told to draw it black on white; with 0 of them w
// is no terminal, and gets blocks for what is light. The error is ErrTooLong, a
// *SizeError or that of w.
func PrintQR(w io.Writer, url cred.Secret, columns, rows int) error {
	code, err := encodeQR(url.Reveal())
	if err != nil {
		return err
	}
	size := code.Size + 2*quiet
	if lines := (size + 1) / 2; columns > 0 && (size > columns || lines >= rows) {
		return &SizeError{size, lines + 1, columns, rows}
	}
	light := func(x, y int) bool {
		x, y = x-quiet, y-quiet
		return x < 0 || y < 0 || x >= code.Size || y >= code.Size || !code.Black(x, y)
	}
	begin, end := "", ""
	if columns > 0 {
		begin, end = "\x1b[38;5;231;48;5;16m", "\x1b[0m"
	}
	var b strings.Builder
	for y := 0; y < size; y += 2 {
		b.WriteString(begin)
		for x := range size {
			switch above, below := light(x, y), light(x, y+1); {
			case above && below:
				b.WriteRune('█')
			case above:
				b.WriteRune('▀')
			case below:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteString(end + "\n")
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// encodeQR returns the smallest code that holds a text, with the least redundancy:
// on a screen it is neither bent nor scratched.
func encodeQR(text string) (*coding.Code, error) {
	data := coding.String(text)
	for v := coding.Version(coding.MinVersion); v <= coding.MaxVersion; v++ {
		if data.Bits(v) > v.DataBytes(coding.L)*8 {
			continue
		}
		plan, err := coding.NewPlan(v, coding.L, 0)
		if err != nil {
			return nil, err
		}
		return plan.Encode(data)
	}
	return nil, ErrTooLong
}
