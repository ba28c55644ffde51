// Calls GetCallerIdentity as a program with the AWS SDK for JavaScript does: see
// README.md. It is CommonJS since modules of the other kind ignore NODE_PATH.
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const { fromNodeProviderChain } = require("@aws-sdk/credential-providers");

const sts = new STSClient({ credentials: fromNodeProviderChain() });

async function call() {
  try {
    const { Arn } = await sts.send(new GetCallerIdentityCommand({}));
    const { accessKeyId, $source } = await sts.config.credentials();
    return { arn: Arn, key: accessKeyId, source: Object.keys($source ?? {}).join() };
  } catch (e) {
    return { error: `${e.name}: ${e.message}` };
  }
}

async function main(seconds) {
  if (seconds === "--version") {
    console.log("AWS SDK for JavaScript", require("@aws-sdk/client-sts/package.json").version);
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
