import { chmodSync, chownSync, lchownSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, it } from 'vitest'
import { isOfOurs, isOursAlone, isOursToMake } from '../../src/common/ours-alone.ts'
import { scratch } from '../support/directories.ts'
import { describeWith, missingRoot } from '../support/missing.ts'

const OTHER = 54_321

describeWith(missingRoot(), 'a folder is ours alone', () => {
  let place: string
  let target: string
  let shared: string
  beforeEach(() => {
    place = scratch()
    target = join(place, 'target')
    shared = join(place, 'shared')
    mkdirSync(target)
    mkdirSync(shared)
    chmodSync(shared, 0o777)
  })

  it('where all folders above it are, and all links on the way', () => {
    expect(isOursAlone(target)).toBe(true)
    symlinkSync('target', join(place, 'link'))
    symlinkSync(join(place, 'link'), join(place, 'second'))
    expect(isOursAlone(join(place, 'second'))).toBe(true)
    mkdirSync(join(target, 'below'))
    expect(isOursAlone(join(place, 'second', 'below', '..', 'below'))).toBe(true)
  })

  it('but not where others can write to it or above it', () => {
    mkdirSync(join(shared, 'below'))
    expect([shared, join(shared, 'below')].map(isOursAlone)).toEqual([false, false])
  })

  it('but not where it belongs to another user, or does not exist', () => {
    chownSync(target, OTHER, OTHER)
    expect([target, join(place, 'missing')].map(isOursAlone)).toEqual([false, false])
  })

  it('but not where a link on the way can be replaced by others', () => {
    symlinkSync(target, join(shared, 'link'))
    symlinkSync(join(shared, 'link'), join(place, 'config'))
    expect(isOursAlone(join(place, 'config'))).toBe(false)
  })

  it('but not where a link on the way belongs to another user, though its folder is sticky', () => {
    chmodSync(shared, 0o1777)
    const link = join(shared, 'link')
    symlinkSync(target, link)
    symlinkSync(link, join(place, 'config'))
    expect(isOursAlone(join(place, 'config'))).toBe(true)
    lchownSync(link, OTHER, OTHER)
    expect(isOursAlone(join(place, 'config'))).toBe(false)
  })

  it('but not where links lead in a circle', () => {
    symlinkSync('circle', join(place, 'circle'))
    expect(isOursAlone(join(place, 'circle'))).toBe(false)
  })

  it('or will be when it is made, unless others can change where its path leads', () => {
    chmodSync(shared, 0o1777)
    symlinkSync(target, join(shared, 'link'))
    expect([join(target, 'a', 'b'), join(shared, 'a'), join(shared, 'link', 'a')].map(isOursToMake)).toEqual([
      true,
      true,
      true,
    ])
    lchownSync(join(shared, 'link'), OTHER, OTHER)
    chmodSync(target, 0o777)
    expect([join(shared, 'link', 'a'), join(target, 'a')].map(isOursToMake)).toEqual([false, false])
  })

  it('or at least of ours, if others can write to it but own no part of its path', () => {
    expect([shared, target].map(isOfOurs)).toEqual([true, true])
    symlinkSync(target, join(place, 'link'))
    lchownSync(join(place, 'link'), OTHER, OTHER)
    expect(isOfOurs(join(place, 'link'))).toBe(false)
    chownSync(target, OTHER, OTHER)
    expect(isOfOurs(target)).toBe(false)
  })
})
