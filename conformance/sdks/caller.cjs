// Calls GetCallerIdentity as a program with the AWS SDK for JavaScript does: see
// README.md, and caller_go for what its arguments mean. It is CommonJS since modules
// of the other kind ignore NODE_PATH.
const { STSClient, GetCallerIdentityCommand } = require("@aws-sdk/client-sts");
const { fromNodeProviderChain } = require("@aws-sdk/credential-providers");

const credentials = fromNodeProviderChain();
const sts = new STSClient({ credentials });

async function call() {
  try {
    const { Arn } = await sts.send(new GetCallerIdentityCommand({}));
    const { accessKeyId, $source } = await sts.config.credentials();
    return { arn: Arn, key: accessKeyId, source: Object.keys($source ?? {}).join() };
  } catch (e) {
    return { error: `${e.name}: ${e.message}` };
  }
}

async function stay(requests) {
  await credentials();
  console.log("ready");
  await new Promise((line) => process.stdin.once("data", line));
  process.stdin.destroy();
  const failed = [];
  for (let i = 0; i < requests; i++) {
    // Credentials expire at whole seconds: keep away from them.
    await new Promise((time) => setTimeout(time, 500 - ((Date.now() + 250) % 500)));
    await sts.send(new GetCallerIdentityCommand({})).catch((e) => failed.push(e.message));
  }
  console.log(JSON.stringify(failed));
}

async function look() {
  const region = await sts.config.region();
  const key = (await credentials()).accessKeyId.slice(0, 4);
  const arn = (await sts.send(new GetCallerIdentityCommand({}))).Arn;
  console.log(JSON.stringify({ region, key, arn }));
}

async function keepCalling(seconds) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    console.log(JSON.stringify(await call()));
    if (Date.now() >= end) return;
    await new Promise((done) => setTimeout(done, 1000));
  }
}

function main(mode, n) {
  switch (mode) {
    case undefined:
      return look();
    case "--version":
      return console.log("AWS SDK for JavaScript", require("@aws-sdk/client-sts/package.json").version);
    case "--requests":
      return stay(Number(n));
  }
  return keepCalling(Number(mode));
}

main(...process.argv.slice(2));
