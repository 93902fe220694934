// What OpenAI's client for Node hears from a running program: node sdk.mjs BASE_URL KEY, prints one JSON object.
// Names of models are those of tests/street/showcase.py.
import OpenAI, { toFile } from 'openai';

const [, , baseURL, apiKey] = process.argv;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: 'user', content: 'hi' }];
const heard = {};

heard.models = (await client.models.list()).data.map((model) => model.id);
heard.model = (await client.models.retrieve('meta-llama/Llama-3.3-70B-Instruct:free')).id;
heard.chat = await client.chat.completions.create({ model: 'chat', messages });
heard.tools = await client.chat.completions.create({ model: 'tools', messages });

async function streamed(request) {
  const chunks = [];
  for await (const chunk of await client.chat.completions.create({ ...request, messages, stream: true })) {
    chunks.push(chunk);
  }
  return chunks;
}
heard.stream = await streamed({ model: 'tools-stream' });
heard.streamWithUsage = await streamed({ model: 'tools-stream', stream_options: { include_usage: true } });

heard.embedding = (await client.embeddings.create({ model: 'embed', input: 'hi' })).data[0].embedding;
heard.image = (await client.images.generate({ model: 'image-b64', prompt: 'a cat' })).data[0].b64_json;
const speech = await client.audio.speech.create({ model: 'speech', input: 'hi', voice: 'alloy' });
heard.speech = Buffer.from(await speech.arrayBuffer()).toString('base64');
const file = await toFile(Buffer.from('sound'), 'a.mp3');
heard.transcription = (await client.audio.transcriptions.create({ model: 'transcription', file })).text;
heard.moderation = (await client.moderations.create({ model: 'moderation', input: 'hi' })).results[0].flagged;
heard.completion = (await client.completions.create({ model: 'completions', prompt: 'hi' })).choices[0].text;

// The class that the SDK makes of each error, with what it tells.
async function refused(call) {
  try {
    await call();
  } catch (error) {
    const { status, code, message } = error;
    return { kind: error.constructor.name, status, code, message, id: error.headers?.get('x-oneapi-request-id') };
  }
  return null;
}
const stranger = new OpenAI({ baseURL, apiKey: 'sk-nobody', maxRetries: 0 });
const ask = (model, more = {}) => client.chat.completions.create({ model, messages, ...more });
heard.errors = {
  unknownKey: await refused(() => stranger.chat.completions.create({ model: 'chat', messages })),
  rateLimit: await refused(() => ask('mock-e429')),
  noSuchModel: await refused(() => client.models.retrieve('no/such/model')),
  emptyMessages: await refused(() => ask('chat', { messages: [] })),
  server: await refused(() => ask('mock-e500')),
  noChannel: await refused(() => ask('no-such-model')),
  pinned: await refused(() => new OpenAI({ baseURL, apiKey: `${apiKey}-1`, maxRetries: 0 }).models.list()),
  broken: await refused(() => streamed({ model: 'mock-n4-cut' })),
};
console.log(JSON.stringify(heard));
