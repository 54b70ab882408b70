import { MAX_FILE_BYTES } from '../seal/box.ts'
import { MAX_AGE } from '../ticket-entry.ts'
import { type Client, isReply, reasonOf } from './client.ts'
import {
  countsKey,
  type Given,
  type GivenSet,
  type GiveRequest,
  jobKey,
  MAX_SETS,
  MAX_TAKEN_BYTES,
  MEMBER,
  originsKey,
  type PoolStatus,
  peerKey,
  type Root,
  type StatusRequest,
  setKey,
  type Taken,
  type TakeRequest,
} from './messages.ts'

// Only commands with a single key are sent, so that a cluster accepts them. All commands of a step are sent before the
// first reply is awaited, so each step is one round trip.

/** How long the counts of a pool are kept after the last take: seconds. */
const COUNTS_LAST = 604_800

/**
 * Takes one batch from each set of these lists: the one that expires last. ZPOPMAX is atomic, so no other job gets it.
 */
export async function take(client: Client, request: TakeRequest, late: Late): Promise<Taken> {
  const { root, lists, tls12 } = request
  const listed = await settled(
    lists.map((list) => client.zrevrange(list, 0, MAX_SETS - 1)),
    late,
  )
  const members = [...new Set(listed.flat())]
    .filter((member) => MEMBER.test(member) && (tls12 || !isReusable(member)))
    .slice(0, MAX_SETS)
  const taken = await settled(
    members.map(async (member) => {
      const key = setKey(root, member)
      const [box] = isReusable(member) ? await client.zrevrange(key, 0, 0) : await client.zpopmax(key)
      return box !== undefined && box.length <= MAX_FILE_BYTES ? [{ member, box }] : []
    }),
    late,
  )
  let bytes = 0
  const boxes = taken.flat().filter(({ box }) => (bytes += box.length) <= MAX_TAKEN_BYTES)
  // The replies are not awaited.
  void client.hincrby(countsKey(root), 'asked', members.length).catch(ignore)
  void client.hincrby(countsKey(root), 'found', boxes.length).catch(ignore)
  void client.expire(countsKey(root), COUNTS_LAST).catch(ignore)
  return { boxes }
}

export async function give(client: Client, request: GiveRequest, late: Late): Promise<Given> {
  const { root, sets, job, now, origins } = request
  if (sets.length === 0) return { sets: [] }
  const kept = Promise.all(sets.map((set) => giveSet(client, request, set, late)))
  const members = sets.map(({ member }) => member)
  const list = async (key: string, of: readonly string[]) => {
    await settled<unknown>([
      client.zadd(key, ...of.flatMap((member) => [now, member])),
      client.zremrangebyrank(key, 0, -MAX_SETS - 1),
      client.expire(key, MAX_AGE),
    ])
  }
  const peers = [...new Set(members.map(peerOf))]
  const ends = sets.flatMap(({ boxes, member }) => [Math.max(...boxes.map(({ end }) => end)), member])
  const lists = Promise.all([
    list(jobKey(root, job), members),
    ...peers.map((peer) =>
      list(
        peerKey(root, peer),
        members.filter((member) => peerOf(member) === peer),
      ),
    ),
    // If these fail, the sets still expire.
    holdOrigins(client, root, ends, now, origins),
  ]).catch(ignore)
  const given = { sets: await kept }
  await Promise.race([lists, late]).catch(ignore)
  return given
}

async function giveSet(
  client: Client,
  { root, now, batches }: GiveRequest,
  { member, boxes }: GivenSet,
  late: Late,
): Promise<Given['sets'][number]> {
  const key = setKey(root, member)
  const most = isReusable(member) ? 1 : batches
  const ends = boxes.map(({ end }) => end)
  const added = client.zadd(key, ...boxes.flatMap(({ box, end }) => [end, box]))
  const bounded = settled<unknown>([
    client.zremrangebyscore(key, '-inf', now),
    client.zremrangebyrank(key, 0, -most - 1),
    client.expire(key, Math.max(...ends) - now),
  ]).catch(ignore)
  try {
    await Promise.race([added, late])
    await Promise.race([bounded, late]).catch(ignore)
    return 'kept'
  } catch (error) {
    return isReply(error) ? { refused: reasonOf(error) } : 'unknown'
  }
}

/**
 * Adds the sets to the list of all sets. If there are too many, those that expire first are removed, which takes one
 * more round trip.
 */
async function holdOrigins(
  client: Client,
  root: Root,
  ends: readonly (string | number)[],
  now: number,
  most: number,
): Promise<void> {
  const key = originsKey(root)
  const added = client.zadd(key, ...ends)
  const others = settled<unknown>([client.zremrangebyscore(key, '-inf', now), client.expire(key, MAX_AGE)])
  const count = client.zcard(key)
  await settled<unknown>([added, others, count])
  const surplus = (await count) - most
  if (surplus <= 0) return
  const popped = await client.zpopmin(originsKey(root), surplus)
  await settled(popped.filter((one) => MEMBER.test(one)).map((member) => client.unlink(setKey(root, member))))
}

export async function status(client: Client, { root }: StatusRequest): Promise<PoolStatus> {
  const start = performance.now()
  await client.ping()
  const latency = performance.now() - start
  const [info = '', members = [], counts = {}] = await Promise.all([
    client.info().catch(() => ''),
    client.zrevrange(originsKey(root), 0, -1).catch(() => []),
    client.hgetall(countsKey(root)).catch(() => ({})),
  ])
  const ours = members.filter((member) => MEMBER.test(member))
  const sizes = await settled(ours.map((member) => client.zcard(setKey(root, member))))
  const text = (name: string) => new RegExp(`^${name}:([\\w.-]{1,40})\\r?$`, 'm').exec(info)?.[1] ?? null
  const number = (name: string) => (text(name) === null ? null : Number(text(name)))
  const [valkey, redis] = [text('valkey_version'), text('redis_version')]
  const { asked, found } = counts as Record<string, string>
  return {
    latency,
    version: valkey ? `Valkey ${valkey}` : redis && `Redis ${redis}`,
    eviction: text('maxmemory_policy'),
    maxMemory: number('maxmemory'),
    usedMemory: number('used_memory'),
    appendOnly: text('aof_enabled') === null ? null : text('aof_enabled') === '1',
    lastSnapshot: number('rdb_last_save_time'),
    peers: new Set(ours.map(peerOf)).size,
    sets: sizes.filter((size) => size > 0).length,
    batches: sizes.reduce((sum, size) => sum + size, 0),
    asked: Number(asked ?? 0),
    found: Number(found ?? 0),
  }
}

const isReusable = (member: string) => member.endsWith('r')
const peerOf = (member: string) => member.slice(0, 22)
const ignore = () => {}
const NEVER = new Promise<never>(() => {})

/**
 * A promise that rejects shortly before the time limit. In a cluster one node may not answer: the answers of the others
 * are then used.
 */
type Late = Promise<never>

/** The results of the commands that succeeded in time. @throws the first error if none did */
async function settled<T>(all: readonly Promise<T>[], late: Late = NEVER): Promise<T[]> {
  const results = await Promise.allSettled(all.map((one) => Promise.race([one, late])))
  const fulfilled = results.filter((one) => one.status === 'fulfilled')
  const rejected = results.find((one) => one.status === 'rejected')
  if (fulfilled.length === 0 && rejected) throw rejected.reason
  return fulfilled.map(({ value }) => value)
}
