/** A recipe: which names its patterns mean, what its arm makes of a model, and which settings are refused. */
import { describe, expect, it } from 'vitest';
import { configByName } from '../../src/sam/config.js';
import { modelParameters } from '../../src/sam/parameters.js';
import {
  type Arm,
  arms,
  checkRecipe,
  configOfArm,
  groupsOf,
  lossOf,
  matcher,
  type Recipe,
  TRAIN_DEFAULT,
} from '../../src/training/recipe.js';
import { expectError } from '../weights/support/errors.js';

const recipe: Recipe = {
  arm: 'sgp-zoom',
  loss: 'zoom',
  seed: 0,
  samples: 100,
  lr: 1e-3,
  weightDecay: 1e-4,
  schedule: { kind: 'cosine' },
  train: TRAIN_DEFAULT,
  groups: [],
  accumulate: 1,
  clip: 1,
  firstClick: 'mixed',
  lesionWeight: 'uniform',
  clicks: 3,
  correction: 'random',
  flips: true,
  gateNoise: false,
  validateEvery: 50,
  validateLesions: 4,
  patience: 0,
};

describe('patterns', () => {
  it.each<[string, string, boolean]>([
    ['sgpm.*', 'sgpm.0.gate.lin1.weight', true],
    ['sgpm.*', 'a.sgpm.0.gate.lin1.weight', false],
    ['*.bias', 'sgpm.0.gate.lin1.bias', true],
    ['*.bias', 'sgpm.0.gate.lin1.bias_more', false],
    ['*', 'anything at all', true],
    ['*.gate.*.weight', 'sgpm.0.gate.lin1.weight', true],
    ['*.gate.*.weight', 'sgpm.0.gate.lin1.bias', false],
    ['sgpm.*.norm', 'sgpm.0.fusion.norm', true],
    // Without a star the whole name is meant.
    ['image_encoder.pos_embed', 'image_encoder.pos_embed', true],
    ['image_encoder', 'image_encoder.pos_embed', false],
    // Either of several, ends included, with or without spaces.
    ['a.*,b.*', 'a.x', true],
    ['a.*, b.*', 'b.x', true],
    [' a.* ,b.*', 'a.x', true],
    ['a,b', 'ab', false],
    ['a,b', 'a,b', false],
    ['ab,c', 'abc', false],
    // What means something in regular expressions means itself.
    ['sgpm.0', 'sgpmx0', false],
    ['a+', 'aa', false],
    ['a+', 'a+', true],
    ['[ab]', 'a', false],
    ['[ab]', '[ab]', true],
    ['a|b', 'a', false],
    ['a|b', 'a|b', true],
    ['(a)', 'a', false],
    ['(a)', '(a)', true],
    ['a?', '', false],
    ['^a$', 'a', false],
    ['^a$', '^a$', true],
    ['a{1}', 'a', false],
    ['\\d', '5', false],
    ['\\d', '\\d', true],
    ['(', '(', true],
  ])('%j and %j: %s', (patterns, name, matches) => {
    expect(matcher(patterns)(name)).toBe(matches);
  });

  it.each(['', ' ', 'a,', ',a', 'a,,b', 'a, ,b'])('%j has an empty one', async (patterns) => {
    await expectError(() => matcher(patterns), 'bad-argument', `'${patterns}'`, 'empty pattern');
  });

  it('the default trains modules and mask decoder, and leaves both encoders alone', () => {
    const match = matcher(TRAIN_DEFAULT);
    for (const { name } of modelParameters(configByName('sgp-tiny'))) {
      expect(match(name), name).toBe(!/^(image|prompt)_encoder\./.test(name));
    }
  });
});

describe('arms', () => {
  const [plain, sgp] = [configByName('tiny'), configByName('sgp-tiny')];

  it('are the two models with the two losses', () => {
    const all = Object.entries(arms).map(([name, { sgpm, loss }]) => [name, sgpm, loss]);
    expect(all).toEqual([
      ['ft-dice', false, 'dice'],
      ['ft-zoom', false, 'zoom'],
      ['sgp-dice', true, 'dice'],
      ['sgp-zoom', true, 'zoom'],
    ]);
  });

  it.each(['ft-dice', 'ft-zoom'] as const)('%s is the model without modules', (arm) => {
    for (const config of [plain, sgp]) {
      const made = configOfArm(arm, config);
      expect('sgpm' in made && made.sgpm !== undefined).toBe(false);
      expect(modelParameters(made)).toEqual(modelParameters(plain));
    }
    expect(sgp.sgpm, 'the given configuration is as it was').toBeDefined();
  });

  it.each(['sgp-dice', 'sgp-zoom'] as const)('%s needs modules', async (arm) => {
    expect(configOfArm(arm, sgp)).toEqual(sgp);
    await expectError(() => configOfArm(arm, plain), 'bad-argument', arm, "'tiny'", 'sgp-tiny');
  });

  it('a loss of one’s own choice goes before the arm’s', () => {
    expect(lossOf(recipe)).toMatchObject({ dice: 1, focal: 1, ce: 0 });
    expect(lossOf({ ...recipe, loss: 'dice' })).toMatchObject({ dice: 1, focal: 0, ce: 0 });
    expect(lossOf({ ...recipe, loss: 'dice-ce' })).toMatchObject({ dice: 1, focal: 0, ce: 1 });
    const lossTerms = { focal: 0.15, zeta: 0.5 };
    expect(lossOf({ ...recipe, lossTerms })).toEqual({ ...lossOf(recipe), focal: 0.15, zeta: 0.5 });
  });
});

describe('groups', () => {
  const groups = groupsOf({
    ...recipe,
    lr: 1e-2,
    weightDecay: 0.5,
    groups: [
      { names: '*.bias, *norm*', lr: 1, weightDecay: 0 },
      { names: 'sgpm.*', lr: 10, weightDecay: 0.25 },
      { names: 'sgpm.0.*', lr: 77, weightDecay: 77 },
    ],
  });
  /** As the optimiser chooses. */
  const groupOf = (name: string) => groups.find(({ match }) => match(name))!;

  it.each<[string, number, number]>([
    ['sgpm.0.gate.lin1.bias', 1e-2, 0],
    ['mask_decoder.transformer.layers.0.norm1.weight', 1e-2, 0],
    ['sgpm.0.gate.lin1.weight', 1e-1, 0.25],
    ['mask_decoder.iou_token.weight', 1e-2, 0.5],
    ['', 1e-2, 0.5],
  ])('%j learns with %d and decays with %d', (name, lr, weightDecay) => {
    const group = groupOf(name);
    expect(group.lr).toBeCloseTo(lr, 12);
    expect(group.weightDecay).toBe(weightDecay);
  });

  it('without any, everything has the recipe’s own rates', () => {
    const [only, ...more] = groupsOf(recipe);
    expect(more).toEqual([]);
    expect(only).toMatchObject({ lr: recipe.lr, weightDecay: recipe.weightDecay });
    expect(only.match('whatever')).toBe(true);
  });
});

describe('checking a recipe', () => {
  it.each<[Partial<Recipe>]>([
    [{}],
    [{ seed: 2 ** 40, samples: 1, clicks: 1 }],
    [{ lr: 0, weightDecay: 0, clip: 0 }],
    [{ validateEvery: 0, patience: 0, validateLesions: 1 }],
    [{ groups: [{ names: '*', lr: 0, weightDecay: 0 }] }],
  ])('%j is one', (change) => {
    checkRecipe({ ...recipe, ...change });
  });

  const notWhole = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60];
  const whole = {
    seed: 0,
    samples: 1,
    accumulate: 1,
    clicks: 1,
    validateEvery: 0,
    validateLesions: 1,
    patience: 0,
  } as const;
  it.each(Object.entries(whole))('%s is a whole number from %d', async (field, least) => {
    for (const value of [...notWhole, least - 1]) {
      await expectError(() => checkRecipe({ ...recipe, [field]: value }), 'bad-argument', field, `${value}`);
    }
    checkRecipe({ ...recipe, [field]: least });
  });

  it.each(['lr', 'weightDecay', 'clip'])('%s is a number from 0', async (field) => {
    for (const value of [-1e-9, Number.NaN, Number.POSITIVE_INFINITY]) {
      await expectError(() => checkRecipe({ ...recipe, [field]: value }), 'bad-argument', field, `${value}`);
    }
  });

  it.each(['lr', 'weightDecay'])('%s of a group too', async (field) => {
    for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      const groups = [
        { names: '*.bias', lr: 1, weightDecay: 0 },
        { names: 'sgpm.*', lr: 1, weightDecay: 0, [field]: value },
      ];
      await expectError(
        () => checkRecipe({ ...recipe, groups }),
        'bad-argument',
        field,
        "'sgpm.*'",
        `${value}`,
      );
    }
  });

  it('patterns count too', async () => {
    await expectError(() => checkRecipe({ ...recipe, train: 'sgpm.*,' }), 'bad-argument', "'sgpm.*,'");
    const groups = [{ names: '', lr: 1, weightDecay: 0 }];
    await expectError(() => checkRecipe({ ...recipe, groups }), 'bad-argument', 'empty pattern');
  });

  it('knows every arm', () => {
    for (const arm of Object.keys(arms) as Arm[]) checkRecipe({ ...recipe, arm, loss: arms[arm].loss });
  });
});
