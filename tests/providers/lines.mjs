// The test writes a command as a line of JSON, and reads the answer as another. The process ends with its standard input.
import { createInterface } from 'node:readline';

// Packages print notices, `oidc-provider` as soon as it is imported. Standard output is for answers.
console.info = console.warn = () => {};

// `commands` maps the name of a command to a function from its arguments to a promise of the answer.
export async function answer(ready, commands) {
  const say = (value) => process.stdout.write(`${JSON.stringify(value ?? null)}\n`);
  say(ready);
  for await (const line of createInterface({ input: process.stdin })) {
    const { command, ...args } = JSON.parse(line);
    say(await commands[command](args).catch((error) => ({ error: error.stack })));
  }
  process.exit();
}
