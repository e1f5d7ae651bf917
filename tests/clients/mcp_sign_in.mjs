// The npm package `@modelcontextprotocol/sdk`: where a client without a token is told to sign in.
import { text as read } from "node:stream/consumers";
import {
  discoverOAuthProtectedResourceMetadata as discover,
  extractWWWAuthenticateParams as params,
  selectResourceURL,
} from "@modelcontextprotocol/sdk/client/auth.js";

const { url } = JSON.parse(await read(process.stdin));
const seen = {};
for (const [name, token] of Object.entries({ missing: null, bad: "bad", readOnly: "read-only" })) {
  const response = await fetch(url, { method: "POST", headers: token ? { authorization: `Bearer ${token}` } : {} });
  const { resourceMetadataUrl, scope = null, error = null } = params(response);
  seen[name] = { status: response.status, metadata: resourceMetadataUrl?.href, scope, error };
}
const document = await discover(url, { resourceMetadataUrl: seen.missing.metadata });
seen.document = document;
// Without a challenge, the client derives the URL from that of the resource.
seen.isDerived = JSON.stringify(await discover(url)) === JSON.stringify(document);
// The client refuses a document of another resource.
seen.resource = (await selectResourceURL(url, {}, document)).href;
console.log(JSON.stringify(seen));
