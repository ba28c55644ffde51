package chain

import (
	"net/url"
	"strings"

	"kura/internal/awsconfig"
)

// Endpoint returns the endpoint URL that the environment and the profile
// configure for a service, or "" for AWS's own. A service is named as in
// AWS_ENDPOINT_URL_<SERVICE> or in a services section, in any case:
// "STS", "elastic_beanstalk". Errors are *SettingError, *NotFoundError and
// *CycleError; a profile without a section is no error.
//
// The order is that of the AWS SDKs and Tools Reference Guide, Service-specific
// endpoints: what is specific to the service comes before what is for all, but
// anything in the environment before anything in the file.
func Endpoint(f *awsconfig.File, profile string, o Overrides, service string) (string, error) {
	p, err := newProfile(f, profile, o)
	if err != nil {
		return "", err
	}
	return p.endpoint(service)
}

// endpoint is Endpoint for p.
func (p *profile) endpoint(service string) (string, error) {
	if ignored, err := p.ignoresEndpoints(); ignored || err != nil {
		return "", err
	}
	s := p.env("AWS_ENDPOINT_URL_" + serviceID(service))
	if s.value == "" {
		s = p.env("AWS_ENDPOINT_URL")
	}
	if s.value == "" {
		s = p.serviceEndpoint(strings.ToLower(serviceID(service)))
	}
	if s.value == "" {
		s = p.get("endpoint_url")
	}
	if s.value == "" {
		return "", nil
	}
	p.overrides.trace.note("endpoint_url", s)
	u, err := url.Parse(s.value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", s.bad("not an http or https URL")
	}
	return s.value, nil
}

// serviceEndpoint returns the endpoint_url of a block of the services section
// that p names. AWS's SDKs take a section that is missing for an empty one.
func (p *profile) serviceEndpoint(block string) setting {
	s := p.get("services")
	section, _ := p.file.Services(s.value)
	return setting{
		name:    block + " endpoint_url",
		value:   section.Nested(block, "endpoint_url"),
		profile: s.profile,
		file:    s.file,
		section: section,
		lineOf:  block,
	}
}

// endpoints returns the endpoints that the config file sets for p, as in
// Chain.Endpoints, but for those that the environment outranks: a child that is
// told of them by its environment must come to the same endpoints as one that
// reads the file.
func (p *profile) endpoints() (map[string]string, error) {
	if ignored, err := p.ignoresEndpoints(); ignored || err != nil {
		return nil, err
	}
	if p.env("AWS_ENDPOINT_URL").value != "" {
		return nil, nil
	}
	endpoints := make(map[string]string)
	if s := p.get("endpoint_url"); s.value != "" {
		endpoints[""] = s.value
	}
	section, _ := p.file.Services(p.get("services").value)
	for _, block := range section.Blocks() {
		id, url := serviceID(block), section.Nested(block, "endpoint_url")
		if url != "" && p.env("AWS_ENDPOINT_URL_"+id).value == "" {
			endpoints[id] = url
		}
	}
	if len(endpoints) == 0 {
		return nil, nil
	}
	return endpoints, nil
}

// ignoresEndpoints reports whether p is configured to use AWS's own endpoints.
func (p *profile) ignoresEndpoints() (bool, error) {
	s := p.get("ignore_configured_endpoint_urls")
	switch strings.ToLower(s.value) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, s.bad("neither true nor false")
}

// serviceID returns the name of a service in the form of the environment
// variables.
func serviceID(service string) string {
	return strings.ToUpper(strings.NewReplacer(" ", "_", "-", "_").Replace(service))
}

// globalSTS reports whether STS calls of p go to sts.amazonaws.com: whether
// sts_regional_endpoints is legacy and the region one of those that it concerns,
// as listed in the AWS SDKs and Tools Reference Guide, AWS STS Regional
// endpoints.
func (p *profile) globalSTS() (bool, error) {
	s := p.get("sts_regional_endpoints")
	switch strings.ToLower(s.value) {
	case "", "regional":
		return false, nil
	case "legacy":
	default:
		return false, s.bad("neither legacy nor regional")
	}
	switch p.region() {
	case "ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
		"aws-global", "ca-central-1", "eu-central-1", "eu-north-1",
		"eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1",
		"us-east-1", "us-east-2", "us-west-1", "us-west-2":
		return true, nil
	}
	return false, nil
}
