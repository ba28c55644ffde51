//! Calls GetCallerIdentity as a program with the AWS SDK for Rust does: see README.md.

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sts::Client;
use aws_sdk_sts::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_sts::config::{ConfigBag, Intercept, ProvideCredentials, RuntimeComponents};
use aws_sdk_sts::error::{BoxError, DisplayErrorContext};
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arg = std::env::args().nth(1).unwrap_or("0".to_string());
    if arg == "--version" {
        println!("AWS SDK for Rust, aws-sdk-sts {}", aws_sdk_sts::meta::PKG_VERSION);
        return Ok(());
    }
    let end = Instant::now() + Duration::from_secs(arg.parse()?);
    // All of it is plain HTTP, and TLS would take minutes to compile.
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let source = source(&config).await;
    let signer = Signer::default();
    let sts = Client::from_conf(aws_sdk_sts::config::Builder::from(&config).interceptor(signer.clone()).build());
    loop {
        match sts.get_caller_identity().send().await {
            Ok(me) => {
                let (arn, key) = (me.arn().unwrap_or_default(), signer.key.lock().unwrap());
                println!(r#"{{"arn": "{arn}", "key": "{key}", "source": "{source}"}}"#);
            }
            Err(e) => println!(r#"{{"error": "{}"}}"#, DisplayErrorContext(e).to_string().replace(['"', '\\', '\n'], " ")),
        }
        if Instant::now() >= end {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Returns where credentials are from, which is only in what is for debugging.
async fn source(config: &SdkConfig) -> String {
    let Some(provider) = config.credentials_provider() else { return String::new() };
    let shown = format!("{:?}", provider.provide_credentials().await);
    shown.split("provider_name: \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default().to_string()
}

/// Notes the key that a request is signed with, since the client keeps it to itself.
#[derive(Clone, Debug, Default)]
struct Signer {
    key: Arc<Mutex<String>>,
}

impl Intercept for Signer {
    fn name(&self) -> &'static str {
        "Signer"
    }

    fn read_after_signing(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let header = context.request().headers().get("authorization").unwrap_or_default();
        let key = header.split("Credential=").nth(1).and_then(|rest| rest.split('/').next());
        *self.key.lock().unwrap() = key.unwrap_or_default().to_string();
        Ok(())
    }
}
