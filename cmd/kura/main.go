// Kura keeps AWS access keys in a secure store and hands session credentials
// minted from them to whatever needs them.
package main

import (
	"os"

	"kura/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, cli.OS()))
}
