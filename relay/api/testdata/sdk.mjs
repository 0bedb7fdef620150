// Sends by the SDKs of the providers, which lie in the folder that
// POSTERN_MAIL_SDKS names. Arguments: URL and token of the relay. Prints one JSON
// object a line: what each call came to.
import { createRequire } from 'node:module'
import { Buffer } from 'node:buffer'

const require = createRequire(process.env.POSTERN_MAIL_SDKS + '/')
const [url, token] = process.argv.slice(2)
const attachment = Buffer.from('über\r\n.\r\n')

async function tell (name, call) {
  try {
    console.log(JSON.stringify({ name, ok: await call() }))
  } catch (e) {
    console.log(JSON.stringify({ name, error: { message: e.message, status: e.status ?? e.statusCode ?? e.code, details: e.details ?? e.response?.body } }))
  }
}

const { Resend } = require('resend')
const resend = new Resend(token, { baseUrl: url })
const mail = {
  from: 'Shop <shop@example.com>', to: ['Ann <ann@example.org>', 'bob@example.org'], cc: 'carol@example.org', bcc: 'dave@example.org',
  replyTo: 'desk@example.com', subject: 'Grüße', text: 'Hello', html: '<p>Hello <img src="cid:logo"></p>',
  headers: { 'X-Class': 'test' }, tags: [{ name: 'kind', value: 'welcome' }],
  attachments: [{ filename: 'Übersicht.txt', content: attachment }, { filename: 'logo.png', content: 'iVBORw0KGgo=', contentId: 'logo' }]
}
await tell('resend send', () => resend.emails.send(mail))
await tell('resend get and cancel', async () => {
  const sent = await resend.emails.send({ ...mail, attachments: [] , html: undefined })
  const got = await resend.emails.get(sent.data.id)
  const cancelled = await resend.emails.cancel(sent.data.id)
  return { sent, got, cancelled }
})
await tell('resend batch', () => resend.batch.send([mail, { ...mail, to: 'erin@example.org' }]))
await tell('resend batch permissive', () => resend.batch.send([mail, { ...mail, to: 'nobody@' }], { batchValidation: 'permissive' }))
await tell('resend wrong', () => resend.emails.send({ ...mail, to: 'nobody@' }))
await tell('resend key', async () => {
  const one = await resend.emails.send(mail, { idempotencyKey: 'key/1' })
  const two = await resend.emails.send(mail, { idempotencyKey: 'key/1' })
  const other = await resend.emails.send({ ...mail, subject: 'other' }, { idempotencyKey: 'key/1' })
  return { one, two, other }
})
await tell('resend wrong token', () => new Resend('wrong', { baseUrl: url }).emails.send(mail))

const postmark = require('postmark')
const { hostname, port } = new URL(url)
const client = new postmark.ServerClient(token, { requestHost: `${hostname}:${port}`, useHttps: false })
const pm = {
  From: 'Shop <shop@example.com>', To: 'ann@example.org, bob@example.org', Cc: 'carol@example.org', Bcc: 'dave@example.org', ReplyTo: 'desk@example.com',
  Subject: 'Grüße', TextBody: 'Hello', HtmlBody: '<p>Hello</p>', Tag: 'welcome', Metadata: { order: '7' }, Headers: [{ Name: 'X-Class', Value: 'test' }],
  Attachments: [{ Name: 'Übersicht.txt', Content: attachment.toString('base64'), ContentType: 'text/plain', ContentID: null }]
}
await tell('postmark send', () => client.sendEmail(pm))
await tell('postmark batch', () => client.sendEmailBatch([pm, { ...pm, To: 'nobody@' }]))
await tell('postmark wrong', () => client.sendEmail({ ...pm, To: 'nobody@' }))

const sg = require('@sendgrid/mail')
sg.setApiKey(token)
sg.client.setDefaultRequest('baseUrl', url)
const sgm = {
  from: { email: 'shop@example.com', name: 'Shop' }, replyTo: 'desk@example.com', subject: 'Grüße', text: 'Hello', html: '<p>Hello</p>',
  personalizations: [{ to: ['ann@example.org', { email: 'bob@example.org', name: 'Bob' }], cc: 'carol@example.org', bcc: 'dave@example.org' }, { to: 'erin@example.org', subject: 'Other' }],
  headers: { 'X-Class': 'test' }, categories: ['welcome'], customArgs: { order: '7' },
  attachments: [{ content: attachment.toString('base64'), filename: 'Übersicht.txt', type: 'text/plain', disposition: 'attachment' }]
}
await tell('sendgrid send', async () => { const [r] = await sg.send(sgm); return { status: r.statusCode, id: r.headers['x-message-id'] } })
await tell('sendgrid wrong', () => sg.send({ ...sgm, personalizations: [{ to: 'nobody@' }] }))

const Mailgun = require('mailgun.js')
const mg = new Mailgun.default(globalThis.FormData).client({ username: 'api', key: token, url })
const mgm = {
  from: 'Shop <shop@example.com>', to: ['ann@example.org', 'bob@example.org'], cc: 'carol@example.org', bcc: 'dave@example.org',
  subject: 'Grüße', text: 'Hello', html: '<p>Hello</p>', 'h:X-Class': 'test', 'h:Reply-To': 'desk@example.com', 'o:tag': ['welcome', 'first'], 'v:order': '7',
  attachment: [{ data: attachment, filename: 'Übersicht.txt' }]
}
await tell('mailgun send', () => mg.messages.create('shop.example.com', mgm))
await tell('mailgun plain', () => mg.messages.create('shop.example.com', { from: mgm.from, to: mgm.to, subject: 'plain', text: 'Hello' }))
await tell('mailgun mime', () => mg.messages.create('shop.example.com', { to: ['ann@example.org'], message: 'From: shop@example.com\nTo: ann@example.org\nSubject: mime\n\nHello\n' }))
await tell('mailgun wrong', () => mg.messages.create('shop.example.com', { ...mgm, to: 'nobody@' }))
