// Asks a gateway by OpenAI's own SDK, and prints what came as JSON: `node client.mjs BASE_URL KEY`.
import OpenAI from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "sums question q0" }];

const { data: whole, response } = await client.chat.completions
  .create({ model: "cascade", messages })
  .withResponse();
const stream = await client.chat.completions.create({
  model: "cascade",
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
let text = "";
let usage = null;
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage ?? usage;
}
const models = [];
for await (const model of client.models.list()) models.push(model.id);
const refused = await client.chat.completions
  .create({ model: "other", messages })
  .catch((error) => ({ status: error.status, code: error.code, kind: error.constructor.name }));

console.log(
  JSON.stringify({
    text: whole.choices[0].message.content,
    model: response.headers.get("x-cascade-model"),
    streamed: text,
    path: usage.cascade.path,
    models,
    refused,
  }),
);
