package awstest

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
)

const s3Namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// s3Service is https://docs.aws.amazon.com/AmazonS3/latest/API/, as far as
// listing goes and with the bucket's name in the path. It is there so that
// clients have something to show for their credentials.
func s3Service() service {
	return service{"s3", s3Op, (*Cloud).s3, s3Fail}
}

func s3Op(rq *request) string {
	bucket, object, _ := strings.Cut(strings.TrimPrefix(rq.URL.Path, "/"), "/")
	switch {
	case bucket == "" && rq.Method == http.MethodGet:
		return "ListBuckets"
	case object == "" && rq.Method == http.MethodGet && rq.params.Has("location"):
		return "GetBucketLocation"
	case object == "" && rq.Method == http.MethodGet && rq.params.Get("list-type") == "2":
		return "ListObjectsV2"
	case object == "" && rq.Method == http.MethodHead:
		return "HeadBucket"
	}
	return ""
}

func (c *Cloud) s3(rq *request) (*reply, error) {
	if rq.key == nil {
		return nil, refuse(http.StatusForbidden, "AccessDenied", "Access Denied")
	}
	bucket, _, _ := strings.Cut(strings.TrimPrefix(rq.URL.Path, "/"), "/")
	switch rq.op {
	case "":
		return nil, refuse(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented.")
	case "ListBuckets":
		return c.listBuckets(rq)
	}
	i := slices.IndexFunc(c.buckets, func(b Bucket) bool { return b.Name == bucket })
	if i < 0 {
		return nil, refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	b := c.buckets[i]
	if !b.visible(rq.key.who) {
		return nil, refuse(http.StatusForbidden, "AccessDenied", "Access Denied")
	}
	switch rq.op {
	case "GetBucketLocation":
		return s3Reply("LocationConstraint", struct{}{}), nil
	case "HeadBucket":
		return &reply{http.StatusOK, "application/xml", nil}, nil
	}
	return b.list(rq)
}

// visible reports whether p may see b.
func (b Bucket) visible(p principal) bool {
	name := path.Base(p.arn) // of a user
	if p.role != nil {
		name = path.Base(p.role.Name)
	}
	return p.account == b.Account && (len(b.Readers) == 0 || slices.Contains(b.Readers, name)) && !p.denies("s3:ListBucket")
}

func (c *Cloud) listBuckets(rq *request) (*reply, error) {
	who := rq.key.who
	type entry struct{ Name, CreationDate string }
	var entries []entry
	for _, b := range c.buckets {
		if b.visible(who) {
			entries = append(entries, entry{b.Name, "2026-01-02T03:04:05.000Z"})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.Name, b.Name) })
	return s3Reply("ListAllMyBucketsResult", struct {
		OwnerID string  `xml:"Owner>ID"`
		Buckets []entry `xml:"Buckets>Bucket"`
	}{hash([]byte(who.account)), entries}), nil
}

// list answers ListObjectsV2: the names that begin with prefix and come after
// the continuation token, those with a delimiter after it rolled up.
func (b Bucket) list(rq *request) (*reply, error) {
	limit, err := rq.intParam("max-keys", 1000, 0, 1<<31-1)
	if err != nil {
		return nil, err
	}
	limit = min(limit, 1000)
	prefix, delimiter := rq.params.Get("prefix"), rq.params.Get("delimiter")
	after := cmp.Or(rq.params.Get("continuation-token"), rq.params.Get("start-after"))
	encode := func(s string) string { return s }
	if rq.params.Get("encoding-type") == "url" {
		encode = uriEncode
	}

	type object struct {
		Key, LastModified, ETag string
		Size                    int
		StorageClass            string
	}
	type common struct{ Prefix string }
	result := struct {
		Name, Prefix          string
		Delimiter             string `xml:",omitempty"`
		KeyCount, MaxKeys     int
		EncodingType          string `xml:",omitempty"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []object
		CommonPrefixes        []common
	}{
		Name:         b.Name,
		Prefix:       encode(prefix),
		Delimiter:    encode(delimiter),
		MaxKeys:      limit,
		EncodingType: rq.params.Get("encoding-type"),
	}
	last := ""
	for _, name := range slices.Sorted(slices.Values(b.Objects)) {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || name <= after {
			continue
		}
		group := ""
		if i := strings.Index(rest, delimiter); delimiter != "" && i >= 0 {
			group = prefix + rest[:i+len(delimiter)]
		}
		if group != "" && (group == last || strings.HasPrefix(after, group)) {
			continue
		}
		if result.KeyCount == limit {
			result.IsTruncated = limit > 0
			break
		}
		if group != "" {
			result.CommonPrefixes = append(result.CommonPrefixes, common{encode(group)})
		} else {
			result.Contents = append(result.Contents, object{encode(name), "2026-01-02T03:04:05.000Z", `"` + hash([]byte(name))[:32] + `"`, len(name), "STANDARD"})
		}
		last = cmp.Or(group, name)
		result.KeyCount++
	}
	if result.IsTruncated {
		result.NextContinuationToken = last
	}
	return s3Reply("ListBucketResult", result), nil
}

func s3Reply(element string, result any) *reply {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	start := xml.StartElement{
		Name: xml.Name{Local: element},
		Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: s3Namespace}},
	}
	if err := xml.NewEncoder(&b).EncodeElement(result, start); err != nil {
		panic(err) // plain data always encodes
	}
	return &reply{http.StatusOK, "application/xml", b.Bytes()}
}

func s3Fail(_ *request, e *refusal) *reply {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s<Error><Code>%s</Code><Message>", xml.Header, e.code)
	xml.EscapeText(&b, []byte(e.message))
	id := requestID()
	fmt.Fprintf(&b, "</Message><RequestId>%s</RequestId><HostId>%s</HostId></Error>", id, hash([]byte(id)))
	return &reply{e.status, "application/xml", b.Bytes()}
}
