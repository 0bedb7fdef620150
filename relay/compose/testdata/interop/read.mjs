// Prints what mailparser or postal-mime finds in messages, as JSON, one a line.
// Usage: read.mjs mailparser|postal-mime FILE...
// The packages are in the folder that POSTERN_MAIL_PARSERS names.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { gunzipSync } from 'node:zlib'

const require = createRequire(process.env.POSTERN_MAIL_PARSERS + '/')
const [parser, ...files] = process.argv.slice(2)

function file (name, type, id, inline, content) {
  content = Buffer.from(content)
  if (content.subarray(0, 2).toString('hex') === '1f8b') content = gunzipSync(content)
  const sum = createHash('sha256').update(content).digest('hex').slice(0, 16)
  return { Name: name || '', Type: type, ID: inline ? (id || '').replace(/^<|>$/g, '') : '', Inline: inline, Sum: sum }
}

const lf = text => (text || '').replace(/\r\n/g, '\n')

async function byMailparser (raw) {
  const { simpleParser } = require('mailparser')
  const m = await simpleParser(raw, { skipHtmlToText: true, skipTextToHtml: true, skipTextLinks: true, skipImageLinks: true, keepCidLinks: true })
  const people = field => [field || []].flat().flatMap(f => f.value || []).filter(p => p.address).map(p => ({ Name: p.name, Addr: p.address }))
  return {
    From: people(m.from), To: people(m.to), Cc: people(m.cc), ReplyTo: people(m.replyTo),
    Subject: m.subject || '', MessageID: m.messageId, Text: lf(m.text), HTML: lf(m.html || ''),
    Files: m.attachments.filter(a => a.contentDisposition).map(a => file(a.filename, a.contentType, a.contentId, a.contentDisposition === 'inline', a.content))
  }
}

// postal-mime gives calendars and messages as text with LF at the end of each line.
function withCRLF (a) {
  if (!['application/ics', 'message/rfc822'].includes(a.mimeType)) return a.content
  const text = Buffer.from(a.content).toString().replace(/\n/g, '\r\n')
  return a.mimeType === 'message/rfc822' ? text.replace(/\r\n$/, '') : text
}

async function byPostalMime (raw) {
  const { default: PostalMime } = await import(require.resolve('postal-mime'))
  const parse = PostalMime.parse || PostalMime.default.parse.bind(PostalMime.default)
  const m = await parse(raw, { forceRfc822Attachments: true })
  const people = list => [list || []].flat().filter(p => p.address).map(p => ({ Name: p.name, Addr: p.address }))
  return {
    From: people(m.from), To: people(m.to), Cc: people(m.cc), ReplyTo: people(m.replyTo),
    Subject: m.subject || '', MessageID: m.messageId, Text: lf(m.text), HTML: lf(m.html),
    Files: m.attachments.filter(a => a.disposition).map(a => file(a.filename, a.mimeType, a.contentId, a.disposition === 'inline', withCRLF(a)))
  }
}

for (const path of files) {
  const raw = readFileSync(path)
  console.log(JSON.stringify(await (parser === 'mailparser' ? byMailparser : byPostalMime)(raw)))
}
