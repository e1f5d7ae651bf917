// The client knows every reason and code that the server may send, as its own documentation lists them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { CLOSE_CODES, REASONS } from "../index.js";

const PROFILES = ["IANA", "HTTP_LIKE", "GRAPHQL_WS", "CENTRIFUGO"];

/** The rows of a table in the docs of a Rust file, without the head. */
const rows = (file, head) => {
  const lines = readFileSync(new URL(`../../../src/session/${file}`, import.meta.url), "utf8").split("\n");
  const start = lines.findIndex((line) => line.startsWith(`/// ${head}`)) + 2;
  const end = lines.findIndex((line, i) => i >= start && !line.startsWith("/// |"));
  return lines.slice(start, end).map((line) => line.slice(4).split("|").slice(1, -1).map((cell) => cell.trim()));
};
const names = (cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name);
/** Only the code tells what it means. */
const isKnown = (reason) => reason in REASONS || reason === "too_many_sessions";

test("every reason of an end is known, and every code has a meaning", () => {
  const table = rows("end.rs", "| [name]");
  assert.equal(table.length, 10);
  for (const [name, , ...codes] of table) {
    const [reason] = names(name);
    assert.ok(isKnown(reason), reason);
    if (reason === "shutdown" || reason === "closed") continue;
    PROFILES.forEach((profile, i) => assert.ok(codes[i] in CLOSE_CODES[profile], `${profile} ${reason}`));
  }
});

test("every rejection is known, and every code has a meaning", () => {
  const table = rows("close.rs", "| method |");
  assert.equal(table.length, 11);
  for (const [method, , rejections, ...codes] of table) {
    for (const reason of names(rejections).filter((name) => name !== "invalid_token")) assert.ok(isKnown(reason), reason);
    const [name] = method.match(/\w+/);
    PROFILES.forEach((profile, i) => {
      const action = CLOSE_CODES[profile][codes[i]];
      assert.ok(action, `${profile} ${name}`);
      if (["bad_request", "replaced", "policy"].includes(name)) assert.equal(action, "stop", `${profile} ${name}`);
      // A Centrifugo client takes 3504 as final.
      if (name === "too_many" && profile !== "CENTRIFUGO") assert.equal(action, "retry", profile);
    });
  }
});
