//! Where a load balancer's keys are.

use crate::error::ConfigError;

/// The URL of the keys of the load balancer with this Amazon Resource Name. `None` outside of the partition `aws`,
/// where the URL follows no rule.
pub(super) fn keys_url(arn: &str) -> Result<Option<String>, ConfigError> {
    let invalid = |problem| ConfigError::InvalidArn { arn: arn.to_owned(), problem };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "elasticloadbalancing", region, _, resource] = parts.as_slice() else {
        return Err(invalid("it is not the name of a load balancer"));
    };
    if !resource.starts_with("loadbalancer/app/") {
        return Err(invalid("it is not an application load balancer"));
    }
    let is_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if region.is_empty() || !region.bytes().all(is_name) {
        return Err(invalid("it has no region"));
    }
    Ok((*partition == "aws").then(|| format!("https://public-keys.auth.elb.{region}.amazonaws.com")))
}
