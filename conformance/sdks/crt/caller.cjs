// Calls GetCallerIdentity with the credentials and the signature of the AWS Common
// Runtime, which is in C and is what the SDK for C++ is made of: see README.md.
const http = require("http");
const { auth, http: crt } = require("aws-crt");

const provider = auth.AwsCredentialsProvider.newDefault();

async function call() {
  try {
    const endpoint = new URL(process.env.AWS_ENDPOINT_URL);
    const path = "/?Action=GetCallerIdentity&Version=2011-06-15";
    const request = new crt.HttpRequest("GET", path, new crt.HttpHeaders([["Host", endpoint.host]]));
    await auth.aws_sign_request(request, {
      algorithm: auth.AwsSigningAlgorithm.SigV4,
      signature_type: auth.AwsSignatureType.HttpRequestViaHeaders,
      provider,
      region: process.env.AWS_REGION,
      service: "sts",
      date: new Date(),
    });
    const headers = Object.fromEntries([...request.headers]);
    const [status, body] = await send(endpoint, path, headers);
    if (status !== 200) return { error: body };
    return { arn: body.match(/<Arn>(.*)<\/Arn>/)[1], key: headers["Authorization"].match(/Credential=(\w+)/)[1] };
  } catch (e) {
    return { error: `${e.name}: ${e.message}` };
  }
}

function send(endpoint, path, headers) {
  return new Promise((done, fail) => {
    const request = http.get({ host: endpoint.hostname, port: endpoint.port, path, headers }, async (response) => {
      let body = "";
      for await (const part of response) body += part;
      done([response.statusCode, body]);
    });
    request.on("error", fail);
  });
}

async function main(seconds) {
  if (seconds === "--version") {
    console.log("AWS Common Runtime, aws-crt", require("aws-crt/package.json").version);
    return;
  }
  const end = Date.now() + Number(seconds) * 1000;
  for (;;) {
    console.log(JSON.stringify(await call()));
    if (Date.now() >= end) return;
    await new Promise((done) => setTimeout(done, 1000));
  }
}

main(process.argv[2] ?? 0);
