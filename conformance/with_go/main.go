// With_go is what a program with the AWS SDK for Go finds: its region and who
// it is. With a number it stays: it takes its credentials, says "ready", waits
// for a line, makes so many requests, two in a second, and prints what became of
// those that failed.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func main() {
	if slices.Equal(os.Args[1:], []string{"--version"}) {
		fmt.Println("AWS SDK for Go v2", aws.SDKVersion)
		return
	}
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := sts.NewFromConfig(cfg)
	credentials, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		requests, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		return stay(ctx, client, requests)
	}
	me, err := client.GetCallerIdentity(ctx, nil)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{
		"region": cfg.Region,
		"key":    credentials.AccessKeyID[:4],
		"arn":    *me.Arn,
	})
}

func stay(ctx context.Context, client *sts.Client, requests int) error {
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	failed := []string{}
	for range requests {
		// Credentials expire at whole seconds: keep away from them.
		const half = time.Second / 2
		time.Sleep(half - (time.Duration(time.Now().UnixNano())+half/2)%half)
		if _, err := client.GetCallerIdentity(ctx, nil); err != nil {
			failed = append(failed, err.Error())
		}
	}
	return json.NewEncoder(os.Stdout).Encode(failed)
}
